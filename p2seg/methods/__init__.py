"""The methods: what a network of points is trained on, and how its outputs label an image."""
