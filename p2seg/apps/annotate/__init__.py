"""A page to click objects on: images in a browser, points saved at each click, masks at once.

`clicks` holds the points and `store` their file (`layout` its text), `session` what all tabs share,
`album` the images, `preview` makes the masks, `view` is a tab of the browser with its panel
(`side`) and its canvas (`browser/`), `server` brings them together on a port, and `guard` says who
may ask.
"""
