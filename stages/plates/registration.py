"""Motion of the camera: one map per frame, fitted to the whole clip at once so that nothing drifts.

Corners are tracked between neighbours and over long gaps, away from whatever moves by itself. All frame-to-reference
maps are then refined together on all tracks (bundle adjustment with a Cauchy loss), so an error between two neighbours
cannot add up: a pair 16 or 48 frames apart pulls it straight.
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from ...arrays import Mask, Rgb

Map = Float64[np.ndarray, "3 3"]
Maps = Float64[np.ndarray, "T 3 3"]
Points = Float32[np.ndarray, "N 2"]
UnitPoints = Float64[np.ndarray, "N 2"]
"""Points in pixels of half the larger side, from the middle."""
UnitPair = tuple[int, int, np.ndarray, np.ndarray]
Tracks = tuple[Float32[np.ndarray, "M 2"], Float32[np.ndarray, "M 2"]]
Grey = UInt8[np.ndarray, "H W"]

GAPS = (1, 4, 16, 48)
"""Frames between the two ends of a pair; the longer ones stop drift."""
INLIER_PX = 3.0
MIN_TRACKS = 12
"""Fewer common tracks say nothing about a homography, nor do they bind two frames together."""
CELL_PX = 16
"""At most one corner in each cell of this size (less in small pictures): a busy part shall not outvote the rest."""


@dataclass(frozen=True, kw_only=True)
class CameraPath:
    """The camera's motion over a clip, as plane maps."""

    to_reference: Maps
    """Maps homogeneous pixels (x, y, 1) of each frame to the reference frame, the middle one."""
    error_px: float
    """Root mean square reprojection error of the inliers of the longest pairs; 0 for a still camera."""
    inlier_share: float
    """Share of those pairs' tracks that agree with the maps within 3 pixels: low where the scene has depth or moves."""
    motion_px: float
    """Largest distance of a frame's centre from that of the reference."""

    def scaled(self, factor: float) -> "CameraPath":
        """The same path for frames resized by factor; the errors stay in pixels of the original."""
        resize = np.diag([factor, factor, 1.0])
        return replace(self, to_reference=resize @ self.to_reference @ np.linalg.inv(resize))

    def between(self, source: int, target: int) -> Map:
        """The map from pixels of frame source to pixels of frame target."""
        return np.asarray(self._steps[target, source])

    @cached_property
    def _steps(self) -> Float64[np.ndarray, "T T 3 3"]:
        """Maps to each frame (first index) from each frame, solved at once: a clip asks for some 25,000 of them."""
        targets, sources = self.to_reference[:, None], self.to_reference[None]
        steps = np.linalg.solve(targets, sources)
        steps /= steps[..., 2:, 2:]
        steps[(targets == sources).all(axis=(2, 3))] = np.eye(3)
        return np.asarray(steps)


@dataclass(frozen=True, kw_only=True)
class _FramePair:
    first: int
    second: int
    first_xy: Points
    second_xy: Points
    guess: Map


def register_camera(gt: Rgb, keep_out: Mask) -> CameraPath:
    """Find the camera's motion, without keep_out: pixels that move by themselves (all subjects, generously)."""
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in gt]
    corners = [_corners(grey, blocked) for grey, blocked in zip(greys, keep_out, strict=True)]
    neighbours = [_neighbour_pair(greys, corners, frame) for frame in range(len(gt) - 1)]
    chain = _chain_maps(neighbours)
    pairs = [*neighbours, *_long_pairs(greys, corners, chain)]
    size = (gt.shape[2], gt.shape[1])
    if _is_still(pairs):
        return CameraPath(to_reference=np.stack([np.eye(3)] * len(gt)), error_px=0.0, inlier_share=1.0, motion_px=0.0)
    refined = _refine_maps(chain, pairs, size)
    error_px, inlier_share = _agreement(refined, pairs)
    centre = np.array([[size[0] / 2, size[1] / 2]])
    motion_px = max(float(np.linalg.norm(apply_homography(step, centre) - centre)) for step in refined)
    return CameraPath(to_reference=refined, error_px=error_px, inlier_share=inlier_share, motion_px=motion_px)


def apply_homography(step: Map, points: Points | Float64[np.ndarray, "N 2"]) -> Float64[np.ndarray, "N 2"]:
    """Map points (x, y) by a homography."""
    flat = np.column_stack([points, np.ones(len(points))]) @ step.T
    return np.asarray(flat[:, :2] / flat[:, 2:])


def _corners(grey: Grey, blocked: Bool[np.ndarray, "H W"]) -> Points:
    """The best corner of each cell, where there is one that noise cannot explain."""
    strength = cv2.cornerMinEigenVal(cv2.GaussianBlur(grey, (0, 0), 1.0), blockSize=5, ksize=3)
    strength[cv2.dilate(blocked.view(np.uint8), np.ones((15, 15), np.uint8)) > 0] = 0
    cell = min(CELL_PX, max(min(grey.shape) // 12, 5))
    rows, columns = (-(-side // cell) for side in grey.shape)
    padded = np.zeros((rows * cell, columns * cell), np.float32)
    inner = (slice(4, grey.shape[0] - 4), slice(4, grey.shape[1] - 4))
    padded[inner] = strength[inner]
    cells = padded.reshape(rows, cell, columns, cell).swapaxes(1, 2).reshape(rows * columns, -1)
    best = cells.argmax(axis=1)
    good = cells[np.arange(len(cells)), best] > 2e-5
    row, column = np.divmod(np.arange(rows * columns), columns)
    points = np.column_stack([column * cell + best % cell, row * cell + best // cell])
    return np.asarray(points[good], np.float32)


def _track(first: Grey, second: Grey, corners: Points, guess: Map, levels: int) -> Tracks:
    """Follow corners of first into second, which guess brings near; only those that also find their way back."""
    if len(corners) < MIN_TRACKS:
        return corners[:0], corners[:0]
    size = first.shape[::-1]
    still = np.array_equal(guess, np.eye(3))
    moved = second if still else cv2.warpPerspective(second, guess, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    follow = partial(cv2.calcOpticalFlowPyrLK, winSize=(15, 15), maxLevel=levels, minEigThreshold=1e-5)
    tracked, status, _ = follow(first, moved, corners, np.empty_like(corners))
    mapped = tracked.astype(np.float64) if still else apply_homography(guess, tracked)
    good = ((mapped > 4) & (mapped < np.array(size) - 5)).all(axis=1) & (status[:, 0] > 0)
    if good.any():
        returned, status, _ = follow(moved, first, tracked[good], np.empty_like(corners[good]))
        good[good] = (status[:, 0] > 0) & (np.linalg.norm(returned - corners[good], axis=1) < 0.5)
    return corners[good], mapped[good].astype(np.float32)


def _neighbour_pair(greys: list[Grey], corners: list[np.ndarray], frame: int) -> _FramePair:
    """Frame to the next one; when few tracks agree (a fast pan), again from the shift of the whole picture."""
    first, second = greys[frame], greys[frame + 1]
    first_xy, second_xy = _track(first, second, corners[frame], np.eye(3), levels=4)
    guess, agreed = _fit_map(first_xy, second_xy)
    if agreed < 0.5 * len(corners[frame]):
        small = [cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for grey in (first, second)]
        window = cv2.createHanningWindow(small[0].shape[::-1], cv2.CV_32F)
        (x, y), _ = cv2.phaseCorrelate(small[0].astype(np.float32), small[1].astype(np.float32), window)
        shift = np.array([[1, 0, 2 * x], [0, 1, 2 * y], [0, 0, 1]])
        shifted = _track(first, second, corners[frame], shift, levels=3)
        shifted_guess, agreed_again = _fit_map(*shifted)
        if agreed_again > agreed:
            (first_xy, second_xy), guess = shifted, shifted_guess
    return _FramePair(first=frame, second=frame + 1, first_xy=first_xy, second_xy=second_xy, guess=guess)


def _fit_map(first_xy: Points, second_xy: Points) -> tuple[Map, int]:
    """The map that most tracks agree on, and how many; simpler maps where few tracks carry it."""
    if len(first_xy) < MIN_TRACKS:
        step = np.eye(3)
        if len(first_xy):
            step[:2, 2] = np.median(second_xy - first_xy, axis=0)
        return step, 0
    if len(first_xy) >= 4 * MIN_TRACKS:
        step, agreed = cv2.findHomography(first_xy, second_xy, cv2.USAC_MAGSAC, 1.5, maxIters=2000, confidence=0.999)
        if step is not None and _is_sane(step):
            return step, int(agreed.sum())
    step = np.eye(3)
    affine, agreed = cv2.estimateAffinePartial2D(first_xy, second_xy, method=cv2.RANSAC, ransacReprojThreshold=2.0)
    if affine is None:
        return step, 0
    step[:2] = affine
    return step, int(agreed.sum())


def _is_sane(step: Map) -> bool:
    """Between two frames a camera neither flips the picture nor zooms more than fourfold."""
    return bool(0.25 < np.linalg.det(step[:2, :2]) < 4 and np.abs(step[2, :2]).max() < 1e-3)


def _chain_maps(neighbours: list[_FramePair]) -> Maps:
    """First guess: neighbours' maps composed towards the middle frame."""
    middle = (len(neighbours) + 1) // 2
    chain = [np.eye(3)] * (len(neighbours) + 1)
    for pair in neighbours[middle:]:
        chain[pair.second] = chain[pair.first] @ np.linalg.inv(pair.guess)
    for pair in reversed(neighbours[:middle]):
        chain[pair.first] = chain[pair.second] @ pair.guess
    return np.stack([_normalised(step) for step in chain])


def _long_pairs(greys: list[Grey], corners: list[np.ndarray], chain: Maps) -> list[_FramePair]:
    """Tracks between frames far apart in time, started from the chain."""
    pairs = []
    for gap in GAPS[1:]:
        for first in range(0, len(greys) - gap, max(gap // 8, 1)):
            second = first + gap
            guess = _normalised(np.linalg.solve(chain[second], chain[first]))
            if not _is_sane(guess):
                continue
            first_xy, second_xy = _track(greys[first], greys[second], corners[first], guess, levels=2)
            pairs.append(_FramePair(first=first, second=second, first_xy=first_xy, second_xy=second_xy, guess=guess))
    return pairs


def _is_still(pairs: list[_FramePair]) -> bool:
    """Whether nearly all tracks stay where they are, over every gap."""
    shifts = [pair.second_xy - pair.first_xy for pair in pairs if len(pair.first_xy) >= MIN_TRACKS]
    if not shifts:
        return True
    length = float(np.percentile(np.linalg.norm(np.concatenate(shifts), axis=1), 80))
    return bool(max(np.abs(np.median(shift, axis=0)).max() for shift in shifts) < 0.1 and length < 0.15)


def _refine_maps(chain: Maps, pairs: list[_FramePair], size: tuple[int, int]) -> Maps:
    """Bundle adjustment: damped Gauss-Newton with Cauchy weights, on the reprojection error in the second frame."""
    scale = max(size) / 2
    unit = np.array([[1 / scale, 0, -size[0] / 2 / scale], [0, 1 / scale, -size[1] / 2 / scale], [0, 0, 1]])
    inverse_unit = np.linalg.inv(unit)
    current = np.stack([_normalised(unit @ step @ inverse_unit) for step in chain])
    dof = 8 if all(_is_sane(step) for step in chain) else 6
    current[:, 2, :2] *= dof == 8
    usable = [
        (pair.first, pair.second, apply_homography(unit, pair.first_xy), apply_homography(unit, pair.second_xy))
        for pair in pairs
        if len(pair.first_xy) >= MIN_TRACKS
    ]
    for sigma_px in (4.0, 2.0, 1.0, 1.0, 0.7, 0.7, 0.7, 0.7):
        current = _gauss_newton(current, usable, sigma_px / scale, dof)
    return np.stack([_normalised(inverse_unit @ step @ unit) for step in current])


def _normalised(step: Map) -> Map:
    return np.asarray(step / step[2, 2])


def _gauss_newton(current: Maps, pairs: list[UnitPair], sigma: float, dof: int) -> Maps:
    """One step over all frames but the reference, which stays the identity."""
    total = len(current) * dof
    normal = np.zeros((total, total))
    gradient = np.zeros(total)
    inverses = np.linalg.inv(current)
    for first, second, first_xy, second_xy in pairs:
        residual, jacobian = _linearise(current[first], inverses[second], first_xy, second_xy, dof)
        weight = np.repeat(1 / (1 + (residual**2).sum(axis=1) / sigma**2), 2)
        weighted = jacobian * weight[:, None]
        product, at = weighted.T @ jacobian, [np.s_[frame * dof : (frame + 1) * dof] for frame in (first, second)]
        for place, rows in zip((np.s_[:dof], np.s_[dof:]), at, strict=True):
            normal[rows, at[0]] += product[place, :dof]
            normal[rows, at[1]] += product[place, dof:]
        side = weighted.T @ residual.reshape(-1)
        gradient[at[0]] += side[:dof]
        gradient[at[1]] += side[dof:]
    reference = len(current) // 2
    free_indices = np.delete(np.arange(total), np.s_[reference * dof : (reference + 1) * dof])
    damped = normal[np.ix_(free_indices, free_indices)]
    # A little stiffness towards the present map binds frames that no pair reaches.
    damped[np.diag_indices_from(damped)] += 1e-6 * damped.diagonal().mean() + 1e-9
    step = np.zeros(total)
    step[free_indices] = np.linalg.solve(damped, -gradient[free_indices])
    update = np.zeros((len(current), 9))
    update[:, :dof] = step.reshape(len(current), dof)
    return np.asarray(current + update.reshape(-1, 3, 3))


def _linearise(
    first: Map, inverse: Map, first_xy: UnitPoints, second_xy: UnitPoints, dof: int
) -> tuple[UnitPoints, Float64[np.ndarray, "M K"]]:
    """Residuals of a pair and their derivatives by the entries of both maps; inverse is that of the second map."""
    points = np.column_stack([first_xy, np.ones(len(first_xy))])
    homogeneous = points @ (inverse @ first).T
    projected = homogeneous[:, :2] / homogeneous[:, 2:]
    # With h the homogeneous point, d(projected) = (rows 0, 1 of d(h) - projected * row 2 of d(h)) / depth, and
    # d(h) = inverse @ dH @ point. The points come last: numpy is slow along axes of three.
    points, homogeneous = np.ascontiguousarray(points.T), np.ascontiguousarray(homogeneous.T)
    front = (inverse[:2, :, None] - projected.T[:, None] * inverse[2, :, None]) / homogeneous[2]
    by_first, by_second = front[:, :, None] * points, -front[:, :, None] * homogeneous
    jacobian = np.empty((len(projected), 2, 2 * dof))
    jacobian[..., :dof] = by_first.reshape(2, 9, -1)[:, :dof].transpose(2, 0, 1)
    jacobian[..., dof:] = by_second.reshape(2, 9, -1)[:, :dof].transpose(2, 0, 1)
    return projected - second_xy, jacobian.reshape(-1, 2 * dof)


def _agreement(maps: Maps, pairs: list[_FramePair]) -> tuple[float, float]:
    """RMS error of the inliers and their share, over the longest pairs that have tracks."""
    usable = [pair for pair in pairs if len(pair.first_xy) >= MIN_TRACKS]
    distant = [pair for pair in usable if pair.second - pair.first >= GAPS[2]] or usable
    if not distant:
        return 0.0, 0.0
    misses = []
    for pair in distant:
        step = np.linalg.solve(maps[pair.second], maps[pair.first])
        misses.append(apply_homography(step, pair.first_xy) - pair.second_xy)
    errors = np.linalg.norm(np.concatenate(misses), axis=1)
    inliers = errors[errors < INLIER_PX]
    return float(np.sqrt(np.mean(inliers**2))) if len(inliers) else INLIER_PX, len(inliers) / len(errors)
