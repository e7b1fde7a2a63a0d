"""What a camera noted beside the pictures: shutter times, gyroscope readings, orientations."""
