// main of every test program: works alone and under mpirun. Under mpirun all ranks run the same tests; the job fails
// if one rank's tests fail, and rank 0 alone writes the XML result.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include "distributed/mpi/mpi_session.hpp"

int main(int argc, char** argv) {
  leda::distributed::prefer_ring_sums();
  int granted = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &granted);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  at::set_num_threads(1);
  testing::InitGoogleTest(&argc, argv);
  if (rank != 0) {
    // The writer of the result file exists already by now; left in place, all ranks would write one file at once.
    testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    delete listeners.Release(listeners.default_xml_generator());
  }
  int failed = RUN_ALL_TESTS();
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  MPI_Finalize();
  return failed;
}
