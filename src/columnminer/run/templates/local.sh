#!/bin/bash
exec 2>&1
export OMP_NUM_THREADS=@CORES@

@TASKS@
