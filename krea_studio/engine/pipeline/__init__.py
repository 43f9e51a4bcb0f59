"""What is done beside a stock pipeline: prompts embedded, work left out that cannot change the picture, previews."""
