"""The program that counts tokens with a model's own tokenizer and chat template. See `__main__`."""
