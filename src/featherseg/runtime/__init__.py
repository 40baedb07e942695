"""The ground floor: pictures in, masks out, on numpy, Pillow and onnxruntime alone; it never imports torch."""
