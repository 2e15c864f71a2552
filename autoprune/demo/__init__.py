"""The bundled demo: a generated detection set and a yolov8n trained on it."""
