"""The YAML language: text becomes nodes with places, nodes become structs."""
