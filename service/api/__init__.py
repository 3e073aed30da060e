"""The views: parse, call, dump. One blueprint a file."""
