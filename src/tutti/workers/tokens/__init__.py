"""The program that counts tokens with a model's own tokenizer. See __main__."""
