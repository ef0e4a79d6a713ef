"""The factored ML code of Boucle: everything that is neither a service nor a page."""
