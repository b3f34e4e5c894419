"""Whether a version errs more than at its test: detectors of concept drift on the losses of its labelled answers."""
