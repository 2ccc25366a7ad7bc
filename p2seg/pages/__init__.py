"""What is looked at in a browser: the page to click on, and the page to judge masks."""
