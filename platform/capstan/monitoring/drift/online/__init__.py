"""Whether rows move away from those of training, as they come: online detectors, fed with lots of neighbouring rows."""
