"""Files of other tools: clicks (`points`) and masks (`masks`), a file or folder a tool."""
