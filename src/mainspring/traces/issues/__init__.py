"""Issues: what goes wrong in an application, found in its traces and named once for all of them."""
