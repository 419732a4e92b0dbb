"""Turn a large reasoning model into a training-ready dataset of verified chains of thought."""
