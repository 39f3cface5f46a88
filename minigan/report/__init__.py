"""What people look at: pictures and progress."""

from minigan.report.output import Output
from minigan.report.pictures import image_grid, point_density, to_pixels
from minigan.report.png import encode_png
from minigan.report.progress import JsonProgress, PlainProgress, Progress, RichProgress, open_progress

__all__ = [
    "JsonProgress",
    "Output",
    "PlainProgress",
    "Progress",
    "RichProgress",
    "encode_png",
    "image_grid",
    "open_progress",
    "point_density",
    "to_pixels",
]
