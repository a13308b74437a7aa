"""What people did: the main job, from a request to energy in a bubble."""
