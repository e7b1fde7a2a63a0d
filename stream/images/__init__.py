"""Stills and sequences of images, in and out.

pattern   names such as shot%04d.png
files     images with all their bits, and what they say beside the picture
stills    images to images
relay     images to video, and video to images
"""
