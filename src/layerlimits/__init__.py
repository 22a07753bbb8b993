"""How many layers can a language model lose, by which method, before it stops reasoning?"""

__version__ = "0.1.0"
