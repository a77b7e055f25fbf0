"""A page that runs the packaged models in the browser, and the small server that brings it there."""
