"""The gold: unweighting, joint likelihood ratio, joint score."""
