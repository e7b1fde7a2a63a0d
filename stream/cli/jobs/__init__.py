"""What `deblur run` hands jobs to: what its arguments name, pipes and images, and the preview."""
