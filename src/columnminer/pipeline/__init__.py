"""The whole chain from one YAML file, stage by stage, resumable."""
