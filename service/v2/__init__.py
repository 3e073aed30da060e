"""The Open Inference Protocol (V2): requests and answers as tensors. Nothing here knows of Flask."""
