"""Long checks of the whole command, each to be run as `python -m tests.trials.NAME`.

corpus  every file of a folder through `deblur run`, and its output through `deblur verify`
mutate  damaged files: no crash, no hang, no memory without bound
kills   a run that is killed again and again gives what an undisturbed one gives
flash   sound stays with the picture
shake   how much the camera shakes in a video, and in what became of it
rotation  what a network gains by motion that a gyroscope measured
keeps   what is kept in which container; makes the table of docs/containers.md

Each prints what it found and ends with 0 only when all is well.
"""
