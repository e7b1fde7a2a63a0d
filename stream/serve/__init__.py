"""The job service: a queue of files to restore, over HTTP.

`folders` says which files may be touched, `jobs` is what is kept in SQLite, `options` what a job
may ask for, `worker` runs `deblur run` for one job after the other, `watch` takes in what appears
in a folder, `site` answers requests, `document` describes them, and `server` puts it together.
"""
