"""Where chunks are computed: here, in processes, on a Dask cluster."""
