"""The shelf: the parts that networks are composed of. It knows torch and nothing of the floors above."""
