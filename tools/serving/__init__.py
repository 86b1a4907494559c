"""Examples of services: FastAPI with micro-batching, Triton, a container."""
