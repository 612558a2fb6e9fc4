// The CUDA runtime functions that src/distributed calls, over the device model.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "tests/distributed/fake_gpu/device_model.hpp"

namespace {

using leda::test::fake_gpu::device_of_thread;
using leda::test::fake_gpu::DeviceModel;
using leda::test::fake_gpu::Event;
using leda::test::fake_gpu::Stream;

using Lock = std::scoped_lock<std::recursive_mutex>;

// The legacy default stream and streams of one device need that device to be the thread's current one.
void require_device(DeviceModel& model, int device, const char* call) {
  if (device >= 0 && device_of_thread() != device) {
    model.note_violation(
        fmt::format("{} for device {} from a thread whose device is {}", call, device, device_of_thread()));
  }
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = DeviceModel::current().num_devices();
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= DeviceModel::current().num_devices()) return cudaErrorInvalidDevice;
  device_of_thread() = device;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = device_of_thread() < 0 ? 0 : device_of_thread();
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int device) {
  if (device < 0 || device >= DeviceModel::current().num_devices()) return cudaErrorInvalidDevice;
  std::snprintf(id, static_cast<std::size_t>(length), "%s", DeviceModel::current().bus_id(device).c_str());
  return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* lowest, int* highest) {
  *lowest = 0;
  *highest = -5;
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned int flags, int priority) {
  DeviceModel& model = DeviceModel::current();
  if (device_of_thread() < 0) model.note_violation("a stream made before a device was chosen");
  if (flags != cudaStreamNonBlocking) model.note_violation("a stream that waits for the default stream");
  if (priority != -5) model.note_violation("a communication stream without the highest priority");
  *stream = reinterpret_cast<cudaStream_t>(model.make_stream(device_of_thread()));
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  DeviceModel& model = DeviceModel::current();
  const Lock lock(model.mutex());
  model.destroy_stream(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  DeviceModel& model = DeviceModel::current();
  const Lock lock(model.mutex());
  Stream* stream = model.stream_of(handle, "cudaStreamQuery");
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (!model.advance(*stream)) return cudaErrorNotReady;
  model.host_saw(stream->clock);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  for (;;) {
    const cudaError_t state = cudaStreamQuery(stream);
    if (state != cudaErrorNotReady) return state;
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream_handle, cudaEvent_t event_handle, unsigned int) {
  DeviceModel& model = DeviceModel::current();
  const Lock lock(model.mutex());
  Stream* stream = model.stream_of(stream_handle, "cudaStreamWaitEvent");
  const Event* event = model.event_of(event_handle, "cudaStreamWaitEvent");
  if (stream == nullptr || event == nullptr) return cudaErrorInvalidResourceHandle;
  model.wait(*stream, *event);
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int flags) {
  DeviceModel& model = DeviceModel::current();
  const Lock lock(model.mutex());
  if (device_of_thread() < 0) model.note_violation("an event made before a device was chosen");
  if (flags != cudaEventDisableTiming) model.note_violation("an event that takes times");
  *event = reinterpret_cast<cudaEvent_t>(model.make_event(device_of_thread()));
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  DeviceModel& model = DeviceModel::current();
  const Lock lock(model.mutex());
  model.destroy_event(event);
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event_handle, cudaStream_t stream_handle) {
  DeviceModel& model = DeviceModel::current();
  const Lock lock(model.mutex());
  Stream* stream = model.stream_of(stream_handle, "cudaEventRecord");
  Event* event = model.event_of(event_handle, "cudaEventRecord");
  if (stream == nullptr || event == nullptr) return cudaErrorInvalidResourceHandle;
  require_device(model, event->device, "cudaEventRecord");
  model.record(*event, *stream);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
  DeviceModel& model = DeviceModel::current();
  const Lock lock(model.mutex());
  const Event* event = model.event_of(handle, "cudaEventQuery");
  if (event == nullptr) return cudaErrorInvalidResourceHandle;
  if (!model.is_done(*event)) return cudaErrorNotReady;
  model.host_saw(event->clock);
  return cudaSuccess;
}

const char* cudaGetErrorName(cudaError_t error) { return error == cudaSuccess ? "cudaSuccess" : "cudaErrorOfTheFake"; }

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    default:
      return "error of the fake CUDA runtime";
  }
}

}  // extern "C"
