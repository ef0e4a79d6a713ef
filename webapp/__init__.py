"""The web page of Boucle: predict, correct, and watch the loop close. It talks to the API only."""
