"""From a scene to all that Blender has to know: `plan.json`, with the effects' arrays beside it.

The plan is plain: every place is a matrix per frame, every figure is a list of simple meshes, every picture to draw is
a pass. The worker that reads it decides nothing and has no randomness of its own.

    {"version": 1,
     "size": [H, W], "frames": T, "fps": f, "seed": n,     seed of frame t: n if holds_still, else n + t
     "holds_still": bool, "device": "CPU" | "OPTIX" | ...,
     "camera": {"matrices": [T or 1][16], "focal_mm": f, "sensor_mm": 36},
                                                           row-major camera to world; looks along -z, y is up
     "sky", "sun", "ground", "walls":                      as in the scene's JSON; sky.hdri a name or an absolute path
     "bodies": [{"name", "role": "subject" | "prop",
                 "parts": [{"mesh": "sphere" | "box" | "capsule" | "cylinder" | "cone" | "torus" | "monkey" | "rock"
                                    | "hull" | "prism" | "asset",
                            "size": [x, y, z],             full extents of the mesh before its matrix, metres
                            "bevel_m": f,                  0 for sharp edges
                            "outline": [[x, z], ...] or null,
                                                           prism: its side view, in shares of its size, -0.5 to 0.5,
                                                           counter-clockwise seen from -y; extruded along y
                            "taper": f,                    prism: how much narrower (along y) it is at its top, 0 to 1
                            "asset": path or null,         its largest extent is scaled to max(size), stands on z = 0
                            "look": {...},                 as in the scene's JSON
                            "matrices": [T or 1][16]}]}],  row-major, mesh to world
     "variants": [{"name", "softness_deg": f or null,      of the sun, where the variant has its own
                   "rays": ["shadow", "reflection"],       those of the two that the variant shows
                   "media": [{"effect": "dust", "kind": "cloud" | "drops" | "waves" | "lamp",
                              "file": "dust.npz", ...}]}], the other fields of the medium in effects/media.py
     "passes": [{"name": "background",                     frame files: <name>/<frame:04d>.exr, linear, half float RGBA
                 "what": "plate" | "whole" | "subject" | "front",
                 "variant": index or null, "off": effect kind or null,
                 "samples": n, "denoise": bool, "scale": f, "frames": [t, ...]}]}

Meshes are centred on their origin (an asset stands on z = 0): capsule, cylinder, cone and torus turn around z (a cone's
tip is up), a hull's bow is at +x and its deck on top, a monkey looks along +x. Round ones are shaded smoothly.

What a pass shows:
    plate    neither subject nor media; water is calm. With a variant: under that variant's sun.
    whole    everything of the variant, less the effect `off`.
    subject  the subject alone, premultiplied, with exact alpha: everything else is held out, media are hidden; lit by
             the whole scene. Cropped to the subject's box of that frame.
    front    the variant's clouds and drops alone, with everything else, the subject too, held out: alpha says how much
             of them lies before what is solid. Cropped to the subject's box.

Effects switched off: "shadow" and "reflection" by the subject's ray visibility, the others by hiding their media
("wake" and "ripple" make the water calm again). A variant without "shadow" in its rays is drawn as if shadow were off.

Of each medium `file` holds what `effects.media.arrays_of` gives, and the plan's entry what `fields_of` gives: cloud
`points` [N, 4], `strength` [N], `phase` [N], `ends` [T] (frame t owns ends[t-1]:ends[t]); drops `points`, `ends`; waves
`heights` [T, rows, columns] and maybe `foam`; lamp `at` [T, 3], `power_w` [T]. All float32, ends int64.
"""
