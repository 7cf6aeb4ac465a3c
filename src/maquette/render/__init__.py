"""Pictures of things: functions from a representation and a camera to a Rendering."""
