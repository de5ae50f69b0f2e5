"""Paired effect datasets: a video with its effect, the same video without it, where the effect is, and a caption."""
