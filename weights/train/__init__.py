"""How checkpoints are trained, of drawn pictures or photographs; `python -m weights.train`."""
