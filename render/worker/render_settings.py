"""Settings of Cycles: every one that decides a pixel is set here, none is left to Blender's defaults."""

from typing import Any

import bpy

from .events import Refused


def prepare(scene: Any, plan: dict[str, Any]) -> None:
    """Set what is the same for all passes of a plan."""
    scene.render.engine = "CYCLES"
    scene.render.threads_mode = "FIXED"
    scene.render.threads = 1  # as many processes as cores cost less than threads that wait for each other
    scene.render.use_persistent_data = True
    scene.render.use_motion_blur = False
    scene.render.use_compositing = scene.render.use_sequencer = False
    scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1
    scene.render.filter_size = 1.5
    scene.render.dither_intensity = 0
    scene.display_settings.display_device = "sRGB"
    scene.sequencer_colorspace_settings.name = "sRGB"
    view = scene.view_settings
    # The files hold linear light; "Standard" is set because Blender's own default cannot be undone.
    view.view_transform, view.look, view.exposure, view.gamma = "Standard", "None", 0.0, 1.0
    view.use_curve_mapping = False
    scene.render.use_file_extension = False
    scene.render.use_overwrite, scene.render.use_placeholder = True, False
    files = scene.render.image_settings
    files.file_format, files.color_mode, files.color_depth = "OPEN_EXR", "RGBA", "16"
    files.exr_codec = "ZIP"
    for name in dir(scene.render):
        if name.startswith("use_stamp"):  # dates and times would make the same frame two files
            setattr(scene.render, name, False)
    _set_light_paths(scene.cycles)
    _set_device(scene, plan["device"])


def _set_light_paths(cycles: Any) -> None:
    cycles.use_adaptive_sampling = False  # it would give two passes different samples in one pixel
    cycles.sampling_pattern = "TABULATED_SOBOL"
    cycles.use_light_tree = True
    cycles.use_animated_seed = False
    cycles.pixel_filter_type = "BLACKMAN_HARRIS"
    cycles.filter_width = 1.5
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 8, 3, 3
    cycles.transmission_bounces, cycles.transparent_max_bounces, cycles.volume_bounces = 8, 16, 0
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.blur_glossy = 0.5
    # Glints of the sun would outgrow half floats, and turn a whole pixel white that they hardly touch.
    cycles.sample_clamp_direct, cycles.sample_clamp_indirect = 64.0, 4.0
    cycles.use_fast_gi = False
    cycles.film_exposure = 1.0
    cycles.film_transparent_glass = False
    cycles.denoiser = "OPENIMAGEDENOISE"
    cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
    cycles.denoising_prefilter = "ACCURATE"
    cycles.denoising_quality = "BALANCED"  # as near to the truth as "HIGH" here, for two thirds of the time
    cycles.denoising_use_gpu = False


def _set_device(scene: Any, device: str) -> None:
    """Draw on the processor or on every graphics card of the kind asked for.

    Raises:
        Refused: this machine has none.
    """
    if device == "CPU":
        scene.cycles.device = "CPU"
        return
    preferences: Any = bpy.context.preferences.addons["cycles"].preferences
    try:
        preferences.compute_device_type = device
        preferences.get_devices()
        cards = [card for card in preferences.devices if card.type == device]
    except (TypeError, ValueError):
        cards = []
    if not cards:
        raise Refused(f"rendering.device={device!r}: Blender finds no such device here; use 'CPU' or another machine")
    for card in preferences.devices:
        card.use = card.type == device
    scene.cycles.device = "GPU"
    scene.cycles.denoising_use_gpu = True


def set_pass(
    scene: Any,
    render_pass: dict[str, Any],
    seed: int,
    size: tuple[int, int],
    box: tuple[int, int, int, int] | None,
) -> None:
    """Set the samples, the denoiser and the seed of a pass, its height and width, and the box that is drawn of it.

    Cycles cuts the border down to whole pixels, so a quarter of a pixel is added lest a rounded number fall short.
    """
    scene.cycles.samples = render_pass["samples"]
    # Only the coverage of "front" is used, which has no noise.
    scene.cycles.use_denoising = render_pass["denoise"] and render_pass["kind"] != "front"
    scene.cycles.seed = seed % 2**31
    render, (height, width) = scene.render, size
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
    render.use_border = render.use_crop_to_border = box is not None
    x0, y0, x1, y1 = box or (0, 0, width, height)
    render.border_min_x, render.border_max_x = _edge(x0, width), _edge(x1, width)
    render.border_min_y, render.border_max_y = _edge(height - y1, height), _edge(height - y0, height)


def _edge(pixel: int, size: int) -> float:
    return 0.0 if pixel <= 0 else 1.0 if pixel >= size else (pixel + 0.25) / size
