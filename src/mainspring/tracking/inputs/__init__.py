"""What runs read that is kept elsewhere, and the models that they read and made."""
