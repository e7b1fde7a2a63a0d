"""Video formats: pixel formats, codecs, metadata and the streams that are copied.

Everything that is known of FFmpeg's formats, for files and for live feeds. Opens no file that is
read; that is `stream.input`."""
