"""Who was OOM-killed: counted once, whatever told of it, and kept after the cgroup is gone."""
