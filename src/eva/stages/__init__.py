"""The stages of a round on their own, on Parquet files that other trainers read and write."""
