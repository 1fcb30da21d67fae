"""Made-up people whose traits are known, to measure inference against."""
