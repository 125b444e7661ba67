"""The film data platform. Stays empty: importing the package must cost nothing."""
