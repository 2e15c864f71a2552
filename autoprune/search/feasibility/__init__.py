"""Can pruning get there, and what else could?"""
