#!/bin/bash
#SBATCH --job-name=@NAME@
#SBATCH --output=@LOG@
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=@CORES@
#SBATCH --mem=@MEMORY@M
#SBATCH --time=@WALLTIME@
@DIRECTIVES@
export OMP_NUM_THREADS=@CORES@

@TASKS@
