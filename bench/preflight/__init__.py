"""Will a step fit and run on a device that is not here? That device's own compiler says, ahead of time."""
