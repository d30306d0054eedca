"""Model cards: what a version is, from what is known of it and what people wrote, as Markdown with front matter."""
