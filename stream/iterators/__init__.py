"""Restoring from Python: whole files, and frame by frame, one in, one out, in their order.

files     `stream.run`: what `deblur run` does
arrays    NumPy arrays, tensors and PyAV's frames, to frames of ours and back
restore   `stream.restore`: what any program has or makes
live      `stream.open_live`: what a camera shows
"""
