"""From a finished run to its metrics and pictures, and the feature networks in which the FID is measured."""
